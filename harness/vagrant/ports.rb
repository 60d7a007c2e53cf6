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

    # qemu takes the connection whether or not the guest listens: only the banner says that ssh does.
    # https://www.rfc-editor.org/rfc/rfc4253#section-4.2
    def banner?(port)
      Socket.tcp(HERE, port, connect_timeout: 1) do |socket|
        socket.wait_readable(1) && socket.recv(4) == "SSH-"
      end
    rescue SystemCallError
      false
    end
  end
end
