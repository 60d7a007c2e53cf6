require_relative "errors"

module Slirp
  # What qemu says when it can't start or load a snapshot, and what the user can do about it.
  module Complaints
    # A snapshot that is there and can't be loaded.
    class Broken < Error; end

    module_function

    # `wake`: the snapshot that qemu was to load, or nil.
    def error(complaint, wake)
      text = sentence(complaint)
      return Error.new(text) if text

      wake ? broken(wake, complaint) : Error.new("qemu can't start: #{complaint}")
    end

    def sentence(complaint)
      case complaint
      when /host forwarding rule '(\w+):([^:']*):(\d+)-[^:]*:(\d+)'/
        "port #{$3} of this machine is taken, and the Vagrantfile forwards it to the guest's port #{$4}: " \
        "end the program that listens there (ss -lntup shows it), or take another port in the Vagrantfile"
      when /Failed to get .* lock/
        "another qemu has this machine's disk open: end it (pgrep -af qemu-system shows it)"
      when /No space left/
        "the disk where .vagrant lies is full: make room there"
      when /[Cc]annot (set up guest|allocate) memory/
        "this machine has not enough memory for the virtual one: give it less with STAGES_MEMORY"
      when /Could not open backing file/
        "the box under this machine's disk is gone: vagrant destroy, then vagrant up"
      when /not in qcow2 format|[Cc]orrupt|header/
        "this machine's disk is broken (#{complaint}): vagrant destroy, then vagrant up"
      when /[Kk][Vv][Mm]/
        "KVM can't be used here (#{complaint}): unset STAGES_KVM"
      end
    end

    private_class_method :sentence

    def broken(snapshot, complaint)
      if snapshot == Snapshots::SUSPENDED
        return Broken.new("what was suspended can't be loaded (#{complaint}): vagrant halt gives it up, " \
                          "then vagrant up boots afresh")
      end

      Broken.new("the snapshot #{snapshot} can't be loaded (#{complaint}): vagrant snapshot delete #{snapshot}, " \
                 "then vagrant up; or vagrant destroy for a new machine")
    end
  end
end
