require "io/wait"
require "json"
require "socket"
require_relative "errors"

module Slirp
  # Talks to a running qemu: https://www.qemu.org/docs/master/interop/qmp-spec.html
  class Monitor
    SOCKET = "qmp.sock"
    JOB = "stages"

    # qemu has one ear: while another talks to it, or it is busy with a snapshot, it doesn't answer.
    class Silent < Error; end

    # `directory` is where qemu made its socket; opened, so that the path is short enough however long the
    # checkout's is (unix(7): 108 bytes).
    def self.open(directory, limit: 30)
      Dir.open(directory) do |dir|
        UNIXSocket.open("/proc/self/fd/#{dir.fileno}/#{SOCKET}") { |socket| yield new(socket, limit) }
      end
    end

    def initialize(socket, limit)
      @socket = socket
      @limit = limit
      @buffer = +""
      message # the greeting
      execute("qmp_capabilities")
    end

    def execute(command, arguments = nil)
      @socket.puts(JSON.generate({ execute: command, arguments: arguments }.compact))
      reply = message until reply&.key?("return") || reply&.key?("error")
      raise Error, "qemu refuses #{command}: #{reply["error"]["desc"]}" if reply["error"]

      reply["return"]
    rescue EOFError, Errno::EPIPE, Errno::ECONNRESET
      raise Error, "qemu ended during #{command}"
    end

    # snapshot-save and its like go on in the background, and are over when they say so.
    def run_job(command, arguments)
      execute(command, arguments.merge("job-id" => JOB))
      sleep 0.05 until (job = execute("query-jobs").find { |found| found["id"] == JOB })["status"] == "concluded"
      execute("job-dismiss", "id" => JOB)
      raise Error, job["error"] if job["error"]
    end

    private

    def message
      deadline = now + @limit
      until (line = @buffer.slice!(/\A.*\n/))
        raise Silent, "qemu does not answer: it may be busy with a snapshot" unless @socket.wait_readable([deadline - now, 0].max)

        @buffer << @socket.readpartial(65_536)
      end
      JSON.parse(line)
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
