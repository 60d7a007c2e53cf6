require_relative "errors"

module Slirp
  # What the environment says about the machine, checked; the same for every provider.
  module Settings
    # The checks of CPU shares need two processors to tell a share from a rest.
    CPUS = (2..64)
    # Debian's kernel, systemd and Python start in 384 MiB and not in much less.
    MEMORY = (128..1_048_576)
    # COMMAND_LINE_SIZE is 2048 on x86, and the console and the root take their part.
    KERNEL_ARGS_SIZE = 1500

    module_function

    def cpus
      whole_number("STAGES_CPUS", CPUS, 2)
    end

    def memory
      whole_number("STAGES_MEMORY", MEMORY, 1024, " MiB")
    end

    def kernel_args
      text = ENV.fetch("STAGES_KERNEL_ARGS", "").strip
      return text if text.match?(/\A[[:print:]]*\z/) && text.ascii_only? && text.bytesize <= KERNEL_ARGS_SIZE

      raise Error, "STAGES_KERNEL_ARGS is no kernel command line: give at most #{KERNEL_ARGS_SIZE} printable " \
                   "ASCII characters in one line, or unset it"
    end

    # KVM is used on request only: on some machines /dev/kvm opens, and then the guest hangs.
    def kvm?
      case ENV.fetch("STAGES_KVM", "")
      when "", "0" then false
      when "1" then true
      else raise Error, "STAGES_KVM=#{ENV["STAGES_KVM"]} says neither yes nor no: set it to 1 or 0"
      end
    end

    # A box of the user's: a file, or the name of one that Vagrant has or finds; nil if none is asked for.
    def box
      text = ENV.fetch("STAGES_BOX", "")
      text unless text.empty?
    end

    def whole_number(name, range, default, unit = "")
      text = ENV.fetch(name, "")
      return default if text.empty?
      return text.to_i if text.match?(/\A[0-9]{1,9}\z/) && range.cover?(text.to_i)

      raise Error, "#{name}=#{text} is out of reach: give a whole number from #{range.min} to #{range.max}#{unit}, " \
                   "or unset it for #{default}"
    end
    private_class_method :whole_number
  end
end
