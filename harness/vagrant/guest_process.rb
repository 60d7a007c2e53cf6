require "fileutils"
require_relative "launch"
require_relative "monitor"

module Slirp
  # The qemu that was started in a directory, for a machine of this id.
  class GuestProcess
    def initialize(directory, id)
      @directory = directory
      @id = id
    end

    # nil if it doesn't run. A zombie that its parent hasn't waited for has an empty command line, and a process
    # that got the number of one long gone has another.
    def pid
      pid = Integer(File.read(File.join(@directory, Launch::PIDFILE)).strip)
      pid if File.read("/proc/#{pid}/cmdline").split("\0").each_cons(2).include?(["-name", @id])
    rescue SystemCallError, ArgumentError
      nil
    end

    def alive?
      !pid.nil?
    end

    # Ends it: by asking, so that it writes out what it holds of the disk; then with force.
    def stop
      ask_to_end if alive?
      ended?(10) || signal("KILL")
      raise Error, "qemu (process #{pid}) does not end, even killed: it waits for the disk" unless ended?(10)

      [Launch::PIDFILE, Monitor::SOCKET].each { |name| FileUtils.rm_f(File.join(@directory, name)) }
    end

    def monitor(limit: 30, &block)
      Monitor.open(@directory, limit: limit, &block)
    end

    # As qemu calls it: "running", "paused", "io-error" ...; one that is too busy to say so is at work.
    # https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html#qapidoc-57
    def status
      monitor(limit: 3) { |qmp| qmp.execute("query-status")["status"] }
    rescue Monitor::Silent
      "running"
    rescue Error, SystemCallError
      alive? ? "running" : "shutdown"
    end

    # It has no device by which to tell qemu.
    def panicked?
      said.include?("Kernel panic - not syncing")
    end

    def last_words
      lines = said.gsub(/\e\[[0-9;?]*[A-Za-z]|\r/, "")
      lines.encode("UTF-8", invalid: :replace, undef: :replace).lines.map(&:chomp).reject(&:empty?).last(12)
    end

    private

    def said
      File.read(File.join(@directory, Launch::CONSOLE), encoding: "BINARY")
    rescue Errno::ENOENT
      ""
    end

    def ask_to_end
      monitor(limit: 5) { |qmp| qmp.execute("quit") }
    rescue Error, SystemCallError
      signal("TERM")
    end

    def signal(name)
      (known = pid) && Process.kill(name, known)
    rescue Errno::ESRCH
      nil
    end

    def ended?(seconds)
      (seconds * 20).times do
        return true unless alive?

        sleep 0.05
      end
      !alive?
    end
  end
end
