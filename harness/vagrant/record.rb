require "json"

module Slirp
  # What is known of a machine beside its disk: a JSON file that is always whole.
  #   box        the name and directory of the box that the disk is a layer on
  #   port       on which its ssh is reached
  #   running    what qemu was last started with (Launch#traits)
  #   snapshots  name => what it was taken with, the same; nil for one without memory
  #   wake       the snapshot that the next start goes on from
  class Record
    def initialize(path)
      @path = path
    end

    def [](key)
      all[key]
    end

    def update(changes)
      File.write("#{@path}.new", JSON.pretty_generate(all.merge(changes)))
      File.rename("#{@path}.new", @path)
    end

    private

    def all
      JSON.parse(File.read(@path))
    rescue Errno::ENOENT
      {}
    rescue JSON::ParserError
      raise Error, "#{@path} is broken: vagrant destroy, then vagrant up"
    end
  end
end
