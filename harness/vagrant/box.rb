require "digest"
require_relative "command"
require_relative "settings"

module Slirp
  # Which box the Vagrantfile names, as its name and where it is fetched (nil: where Vagrant finds names).
  module Box
    BUILDER = File.join(__dir__, "build_box")
    # With the Python that the project needs.
    PUBLIC = ["debian/bookworm64", nil].freeze

    module_function

    # The user's, if there is one.
    def given
      text = Settings.box
      return [text, nil] if text && !file?(text)

      text && [of_file(File.expand_path(text)), File.expand_path(text)]
    end

    # What a machine is made of if the user says nothing.
    def default
      Vagrant::Util::Platform.linux? ? built : PUBLIC
    end

    # The one that is built here, or would be.
    def built
      @built ||= begin
        result = Command.run(BUILDER, "--path")
        raise Error, result.complaint unless result.success?

        path = result.out.chomp
        ["stages/#{File.basename(path, ".box")}", path]
      end
    end

    # If it isn't there yet. Each line of the builder's progress goes to the block.
    def build(interrupted, &each_line)
      return if File.file?(built.last)

      result = Command.run(BUILDER, interrupted: interrupted, &each_line)
      raise Error, "the box could not be built: #{result.complaint}" unless result.success?
    end

    # What looks like a path is one: Vagrant's names are author/box.
    def file?(text)
      return true if File.file?(text)
      return false unless text.match?(%r{\A[./~]|\.box\z})

      raise Error, "STAGES_BOX=#{text} is no file: name a box file, or a box that `vagrant box list` shows, " \
                   "or unset it for the one that is built here"
    end
    private_class_method :file?

    # Another file of the same name is another box.
    def of_file(path)
      stat = File.stat(path)
      "stages/given-#{Digest::SHA256.hexdigest([path, stat.size, stat.mtime.to_f].join("\0"))[0, 16]}"
    end
    private_class_method :of_file
  end
end
