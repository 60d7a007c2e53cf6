require_relative "errors"

module Slirp
  # One vagrant at a time changes a machine. flock(2) goes with the process, so there is no stale lock.
  # Vagrant has a lock too, in VAGRANT_HOME, of which there can be several.
  class Lock
    # The directory of the machine itself is emptied by Vagrant, also while it is being made.
    FILE = "slirp.lock"
    # A vagrant that only looks (#taken?) holds it for a moment.
    PATIENCE = 0.5

    @locks = {}

    def self.for(machine)
      path = machine.data_dir.parent.join(FILE).to_s
      @locks[path] ||= new(path)
    end

    def initialize(path)
      @path = path
      @held = false
    end

    def hold
      return yield if @held

      File.open(@path, File::RDWR | File::CREAT) do |file|
        raise Error, busy(file.read) unless acquire(file)

        file.truncate(0)
        file.write(Process.pid)
        file.flush
        begin
          @held = true
          yield
        ensure
          @held = false
        end
      end
    rescue Errno::EACCES
      raise Error, "#{@path} belongs to another user, and so does the machine: run vagrant as that one, " \
                   "or in a checkout of your own"
    end

    # Whether another process holds it.
    def taken?
      !@held && File.open(@path) { |file| file.flock(File::LOCK_SH | File::LOCK_NB) == false }
    rescue Errno::ENOENT
      false
    end

    private

    def acquire(file)
      10.times do
        return true if file.flock(File::LOCK_EX | File::LOCK_NB)

        sleep PATIENCE / 10
      end
      false
    end

    def busy(pid)
      "another vagrant (process #{pid.empty? ? "unknown" : pid}) is at work on this machine: wait until it is done, or end it"
    end
  end
end
