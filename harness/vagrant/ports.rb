require "io/wait"
require "socket"

module Slirp
  # Ports of this machine that lead into the guest.
  module Ports
    HERE = "127.0.0.1"

    module_function

    # One that is free now; it may be taken in the next moment, which qemu then says.
    def any
      TCPServer.open(HERE, 0) { |server| server.addr[1] }
    end

    def free?(port)
      TCPServer.open(HERE, port) { true }
    rescue SystemCallError
      false
    end

    # [[protocol, host address, host port, guest port], ...] as the Vagrantfile says, without ssh's own.
    def forwarded(machine)
      machine.config.vm.networks.filter_map do |type, options|
        next if type != :forwarded_port || options[:disabled] || options[:id] == "ssh"

        [options[:protocol] || "tcp", options[:host_ip] || HERE, options[:host], options[:guest]]
      end
    end

    # Whether ssh listens in the guest: qemu takes the connection in any case, so only the banner tells.
    # https://www.rfc-editor.org/rfc/rfc4253#section-4.2
    # The block is asked now and then whether it is still worth waiting.
    def banner?(port)
      Socket.tcp(HERE, port, connect_timeout: 1) do |socket|
        until socket.wait_readable(0.2)
          return false unless yield
        end
        socket.recv(4) == "SSH-"
      end
    rescue SystemCallError
      false
    end
  end
end
