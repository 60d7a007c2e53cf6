require "json"
require_relative "errors"

module Slirp
  # What an unpacked box holds, in Vagrant's "libvirt" format: metadata.json and a disk; ours also a kernel.
  class BoxFiles
    # "HdrS" at 0x202 is what makes a file a Linux kernel for x86:
    # https://docs.kernel.org/arch/x86/boot.html#the-real-mode-kernel-header
    KERNEL_MAGIC = "HdrS"
    KERNEL_MAGIC_AT = 0x202

    attr_reader :directory

    def initialize(directory)
      @directory = directory.to_s
    end

    def disk
      file(metadata.dig("disks", 0, "path") || "box.img")
    end

    def format
      metadata.dig("disks", 0, "format") || metadata["format"] || "qcow2"
    end

    def kernel
      file("vmlinuz")
    end

    def initrd
      file("initrd.img")
    end

    # Raises Error for a box that can't be started here.
    def check(config)
      raise Error, "the box #{directory} is gone: vagrant destroy, then vagrant up" unless File.directory?(directory)
      raise Error, "the box #{directory} has no disk: remove it with `vagrant box remove`, and take another" unless disk

      check_architecture
      return if kernel || config.kernel_args.empty?

      raise Error, "the box #{directory} starts by its own boot loader, which takes no kernel arguments from here: " \
                   "unset STAGES_KERNEL_ARGS, or unset STAGES_BOX for the box that is built here"
    end

    private

    def check_architecture
      told = metadata["architecture"]
      alien = "is for #{told}" if told && !%w[amd64 x86_64].include?(told)
      alien ||= "has a kernel for another processor" if kernel && File.binread(kernel, 4, KERNEL_MAGIC_AT) != KERNEL_MAGIC
      return unless alien

      raise Error, "the box #{directory} #{alien}, and this machine is an x86_64: take a box for amd64, " \
                   "or unset STAGES_BOX for the one that is built here"
    end

    def file(name)
      path = File.join(directory, name)
      path if File.file?(path)
    end

    def metadata
      @metadata ||= JSON.parse(File.read(File.join(directory, "metadata.json")))
    rescue Errno::ENOENT, JSON::ParserError
      raise Error, "the box #{directory} has no metadata.json that can be read: remove it with " \
                   "`vagrant box remove`, and take another"
    end
  end
end
