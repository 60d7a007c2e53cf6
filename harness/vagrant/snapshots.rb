require_relative "complaints"
require_relative "launch"

module Slirp
  # The states of a machine that are kept inside its disk.
  class Snapshots
    # A user's names begin with a letter, so this is none.
    SUSPENDED = ".suspended"
    # qemu-img takes a snapshot's number for its name, and a name has 255 bytes.
    NAME = /\A[\p{L}_][\p{L}\p{N}_.+ -]{0,62}\z/

    def initialize(driver)
      @driver = driver
    end

    def names
      @driver.disk.snapshots.keys - [SUSPENDED]
    end

    def save(name)
      check_name(name)
      raise Error, "the machine is suspended, and has nothing new to save: vagrant resume first" if @driver.state == :saved

      take(name)
    end

    # What it runs is saved, and the next start goes on from there.
    def suspend
      delete(SUSPENDED) if @driver.disk.snapshots.key?(SUSPENDED)
      take(SUSPENDED)
      @driver.stop
      @driver.record.update("wake" => SUSPENDED)
    end

    # Forgets what was suspended: the next start boots.
    def discard
      @driver.record.update("wake" => nil)
      delete(SUSPENDED) if @driver.disk.snapshots.key?(SUSPENDED)
    end

    # `start` false: the machine is off afterwards, and the next start goes on from the snapshot.
    def restore(name, start: true)
      with_memory = @driver.disk.snapshots.fetch(name)
      return load(name) if start && with_memory && @driver.process.alive? && @driver.record["running"] == taken[name]

      check(name, @driver.traits) if with_memory
      @driver.stop
      discard
      with_memory ? @driver.record.update("wake" => name) : @driver.disk.restore(name)
    end

    def delete(name)
      raise Error, "the next start goes on from #{name}: vagrant resume or vagrant halt first" if @driver.record["wake"] == name

      if @driver.process.alive?
        job("snapshot-delete", "tag" => name)
      else
        @driver.disk.delete(name)
      end
      @driver.record.update("snapshots" => taken.except(name))
    end

    # Raises Error unless a machine with these traits can go on from there.
    def check(name, traits)
      return if (then_ = taken[name]) == traits

      what = traits.keys.find { |key| then_&.fetch(key, nil) != traits[key] }
      raise Error, "the snapshot #{name == SUSPENDED ? "of the suspended machine" : name} was taken with #{what} " \
                   "#{(then_ || {}).fetch(what, "unknown").inspect}, and now it is #{traits[what].inspect}: " \
                   "make it the same again, or vagrant #{name == SUSPENDED ? "halt" : "destroy"}, then vagrant up"
    end

    private

    def take(name)
      if @driver.process.alive?
        job("snapshot-save", "tag" => name, "vmstate" => Launch::NODE)
        @driver.record.update("snapshots" => taken.merge(name => @driver.record["running"]))
      else
        @driver.disk.save(name)
      end
    rescue Error => e
      # A full disk is told as any error of writing.
      raise Error, "the snapshot could not be taken (#{e.message}): #{@driver.disk.room} MiB are free where .vagrant " \
                   "lies, and it takes as much as the guest has touched of its memory; make room there"
    end

    def load(name)
      job("snapshot-load", "tag" => name, "vmstate" => Launch::NODE)
      @driver.continue
    rescue Error => e
      @driver.stop # half of it is loaded
      raise Complaints.broken(name, e.message)
    end

    def job(command, arguments)
      @driver.process.monitor(limit: 600) { |qmp| qmp.run_job(command, arguments.merge("devices" => [Launch::NODE])) }
    end

    def taken
      @driver.record["snapshots"] || {}
    end

    def check_name(name)
      text = name.dup.force_encoding("UTF-8")
      return if text.valid_encoding? && text.match?(NAME)

      raise Error, "#{text.scrub.inspect} can't name a snapshot: begin with a letter; then letters, digits, " \
                   "blanks, and _ . + - may follow, 63 in all"
    end
  end
end
