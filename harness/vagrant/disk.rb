require "json"
require_relative "command"

module Slirp
  # The machine's disk: a layer of its own over the box's, with its snapshots inside.
  # https://www.qemu.org/docs/master/tools/qemu-img.html
  class Disk
    FILE = "disk.qcow2"
    # A guest's writes land in the layer, and each snapshot's memory too.
    ROOM = 512

    def initialize(directory)
      @directory = directory
    end

    def exist?
      File.exist?(File.join(@directory, FILE))
    end

    # It appears whole or not at all.
    def create(base, format)
      qemu_img("create", "-q", "-f", "qcow2", "-F", format, "-b", base, "#{FILE}.new")
      File.rename(File.join(@directory, "#{FILE}.new"), File.join(@directory, FILE))
    end

    # name => whether it holds the memory too
    def snapshots
      return {} unless exist?

      listed = JSON.parse(qemu_img("info", "-U", "--output=json", FILE))["snapshots"] || []
      listed.to_h { |snapshot| [snapshot["name"], snapshot["vm-state-size"].positive?] }
    end

    # These three are for a disk that no qemu has open.
    def save(name)
      qemu_img("snapshot", "-q", "-c", name, FILE)
    end

    def restore(name)
      qemu_img("snapshot", "-q", "-a", name, FILE)
    end

    def delete(name)
      qemu_img("snapshot", "-q", "-d", name, FILE)
    end

    # MiB, on the file system where the disk lies; df(1) since Ruby has no statvfs(3).
    def room
      Command.run("df", "-k", "--output=avail", ".", chdir: @directory).out.lines.last.to_i / 1024
    end

    private

    def qemu_img(*arguments)
      result = Command.run("qemu-img", *arguments, chdir: @directory)
      return result.out if result.success?

      raise Error, "qemu-img #{arguments.first} failed: #{result.complaint}"
    end
  end
end
