require_relative "disk"
require_relative "errors"

module Slirp
  # Whether this machine has what the guest will take, in MiB.
  module Room
    # qemu itself, and the machine code that it makes of the guest's.
    BESIDE_MEMORY = 256
    # The guest's writes; a snapshot takes as much as the guest has touched of its memory.
    ON_DISK = 512

    module_function

    def check(disk, config)
      free = disk.room
      if free < ON_DISK
        raise Error, "#{free} MiB are free where .vagrant lies, and the virtual machine needs #{ON_DISK}: " \
                     "make room there, or set VAGRANT_DOTFILE_PATH to a directory with more"
      end

      needed = config.memory + BESIDE_MEMORY
      return if available >= needed

      raise Error, "#{available} MiB of memory are free, and the virtual machine needs #{needed}: " \
                   "end other programs, or give it less with STAGES_MEMORY (now #{config.memory})"
    end

    # https://man7.org/linux/man-pages/man5/proc_meminfo.5.html
    def available
      File.read("/proc/meminfo")[/^MemAvailable: *([0-9]+) kB/, 1].to_i / 1024
    end
  end
end
