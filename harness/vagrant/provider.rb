require "vagrant"
require_relative "actions"
require_relative "driver"

module Slirp
  # A virtual machine that is one qemu process: no daemon, no bridge, no root; its network is slirp,
  # a TCP/IP stack in that process. https://wiki.qemu.org/Documentation/Networking#User_Networking_(SLIRP)
  class Provider < Vagrant.plugin("2", :provider)
    LONG = {
      not_created: "There is no machine yet: `vagrant up` makes it.",
      preparing: "Another vagrant is making it.",
      poweroff: "It is off: `vagrant up` boots it.",
      saved: "It is suspended: `vagrant resume` goes on, `vagrant halt` gives up what it did.",
      paused: "It stands still, in memory: `vagrant resume` goes on. Its disk may be full.",
      running: "It runs: `vagrant ssh` enters, `vagrant halt` ends, `vagrant suspend` saves it."
    }.freeze

    # Where there is nothing else either it is the default too, so that what is missing can be said.
    def self.usable?(raise_error = false)
      reason = missing
      return reason.nil? || !Vagrant::Util::Which.which("VBoxManage") unless raise_error
      raise Error, reason if reason

      true
    end

    def self.missing
      return "this provider works on Linux only: take another with --provider" unless Vagrant::Util::Platform.linux?

      absent = { Launch::PROGRAM => "qemu-system-x86", "qemu-img" => "qemu-utils", "ssh" => "openssh-client" }
               .reject { |program, _| Vagrant::Util::Which.which(program) }
      return if absent.empty?

      "#{absent.keys.join(" and ")} can't be found: sudo apt-get install --no-install-recommends #{absent.values.join(" ")}"
    end
    private_class_method :missing

    attr_reader :driver

    def initialize(machine)
      @machine = machine
      @driver = Driver.new(machine)
    end

    def action(name)
      Actions.public_send(name) if Actions.respond_to?(name)
    end

    def state
      id = driver.state
      Vagrant::MachineState.new(id, id.to_s.tr("_", " "), LONG.fetch(id))
    end

    def ssh_info
      { host: Ports::HERE, port: driver.port } if driver.state == :running
    end

    def to_s
      "slirp (#{@machine.id || "new"})"
    end
  end
end
