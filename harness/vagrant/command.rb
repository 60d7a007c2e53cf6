require "tempfile"
require "vagrant"
require_relative "errors"

module Slirp
  # Runs a program to its end, in a process group of its own: a Ctrl-C reaches Vagrant alone, which ends it in order.
  module Command
    Result = Struct.new(:status, :out, :err) do
      def success?
        status.success?
      end

      # The program's own words, in one line.
      def complaint
        lines = err.strip.empty? ? out : err
        lines.strip.lines.map(&:strip).last(3).join("; ")
      end
    end

    module_function

    # `interrupted` is asked now and then; once it says yes, the program is ended and VagrantInterrupt raised.
    # A block gets each line of standard error as it comes.
    def run(*command, chdir: nil, interrupted: -> { false }, &each_line)
      out = Tempfile.new("slirp")
      reader, writer = IO.pipe
      # Vagrant's installer changes LD_LIBRARY_PATH and the like for its own Ruby. A program that stands alone would be
      # taken for a line of shell, if its name were not given twice.
      program, *arguments = command
      pid = Process.spawn(Vagrant.original_env, [program, program], *arguments,
                          in: File::NULL, out: out.path, err: writer, pgroup: true, **{ chdir: chdir }.compact)
      writer.close
      err = relay(reader, interrupted, &each_line)
      Result.new(wait(pid, interrupted), File.read(out.path), err)
    rescue Errno::ENOENT => e
      raise unless e.message.include?(command.first)

      raise Error, "#{command.first} is not on the PATH: sudo apt-get install qemu-system-x86 qemu-utils"
    ensure
      terminate(pid) if pid
      [reader, writer].compact.each(&:close)
      out&.close!
    end

    def relay(reader, interrupted)
      text = +""
      rest = +""
      loop do
        raise Vagrant::Errors::VagrantInterrupt if interrupted.call
        next unless reader.wait_readable(0.1)

        rest << (piece = reader.readpartial(65_536))
        text << piece
        while (line = rest.slice!(/\A.*\n/))
          yield line.chomp if block_given?
        end
      end
    rescue EOFError
      text
    end
    private_class_method :relay

    # Standard error may be closed long before the program ends.
    def wait(pid, interrupted)
      loop do
        raise Vagrant::Errors::VagrantInterrupt if interrupted.call
        return $? if Process.wait(pid, Process::WNOHANG)

        sleep 0.02
      end
    end
    private_class_method :wait

    # Ends the group of a program that was left behind by an exception. One that is over has been waited for.
    def terminate(pid)
      return if Process.wait(pid, Process::WNOHANG)

      Process.kill("TERM", -pid)
      300.times do # a builder has to clean up
        return if Process.wait(pid, Process::WNOHANG)

        sleep 0.05
      end
      Process.kill("KILL", -pid)
      Process.wait(pid)
    rescue Errno::ECHILD, Errno::ESRCH
      nil
    end
    private_class_method :terminate
  end
end
