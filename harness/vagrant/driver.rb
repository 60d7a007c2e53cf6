require "fileutils"
require "securerandom"
require_relative "box_files"
require_relative "command"
require_relative "complaints"
require_relative "disk"
require_relative "guest_process"
require_relative "launch"
require_relative "lock"
require_relative "ports"
require_relative "record"
require_relative "room"
require_relative "snapshots"

module Slirp
  # What can be done with one machine. What is known of it are its files, in .vagrant/machines/<name>/slirp.
  class Driver
    # How often another port is tried when somebody took the one that was free.
    ATTEMPTS = 10
    # What qemu is doing while it moves memory: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
    AT_WORK = %w[running inmigrate save-vm restore-vm finish-migrate].freeze

    attr_reader :disk, :record

    def initialize(machine)
      @machine = machine
      @directory = machine.data_dir.to_s
      @disk = Disk.new(@directory)
      @record = Record.new(File.join(@directory, "machine.json"))
    end

    def process
      GuestProcess.new(@directory, @machine.id)
    end

    def snapshots
      Snapshots.new(self)
    end

    def port
      record["port"]
    end

    # :not_created, :preparing (another vagrant is making it), :poweroff, :saved, :paused, :running
    def state
      # Vagrant empties the directory of a machine that it is told is not created.
      return Lock.for(@machine).taken? ? :preparing : :not_created unless @machine.id && disk.exist?
      return record["wake"] ? :saved : :poweroff unless process.alive?

      case process.status
      when *AT_WORK then :running
      when "shutdown" then :poweroff
      else :paused
      end
    end

    def create
      box = BoxFiles.new(@machine.box.directory)
      box.check(config)
      Room.check(disk, config)
      disk.create(box.disk, box.format)
      record.update("box" => box.directory)
      @machine.id = "stages-#{SecureRandom.hex(8)}"
    end

    # Starts qemu, where the last suspend or restore left off if there is one. `interrupted` as in Command.run.
    def start(interrupted)
      box.check(config)
      Room.check(disk, config)
      process.stop # clears away what a killed one left
      wake = record["wake"]
      snapshots.check(wake, traits) if wake
      launch(wake, interrupted)
      wake == Snapshots::SUSPENDED ? snapshots.discard : record.update("wake" => nil)
    rescue Complaints::Broken
      record.update("wake" => nil) unless wake == Snapshots::SUSPENDED
      raise
    end

    def continue
      process.monitor { |qmp| qmp.execute("cont") }
    end

    def stop
      process.stop
    end

    def destroy
      process.stop
      @machine.id = nil # Vagrant empties the directory
    end

    # What the machine would be started with now: Launch#traits.
    def traits
      Launch.new(@machine.id, config, box, []).traits
    end

    private

    def config
      @machine.provider_config
    end

    # The one that the disk is a layer on, whatever the Vagrantfile names by now.
    def box
      BoxFiles.new(record["box"])
    end

    def launch(wake, interrupted)
      ATTEMPTS.times do |attempt|
        port = attempt.zero? && record["port"] && Ports.free?(record["port"]) ? record["port"] : Ports.any
        forwards = Ports.forwarded(@machine)
        launch = Launch.new(@machine.id, config, box, [["tcp", Ports::HERE, port, 22], *forwards])
        result = Command.run(*launch.command(wake: wake), chdir: @directory, interrupted: interrupted)
        return record.update("port" => port, "running" => launch.traits) if result.success?
        next if result.err.include?("host forwarding rule 'tcp:#{Ports::HERE}:#{port}-")

        raise Complaints.error(result.complaint, wake)
      end
      raise Error, "no port of this machine is free for the guest's ssh: #{ATTEMPTS} were tried"
    end
  end
end
