require "vagrant"
require_relative "ports"

module Slirp
  # Brings the machine to where ssh lets one in, from whatever state it is in.
  class Boot
    # What it is up to, for the user's eye.
    WORDS = { poweroff: "Booting...", saved: "Going on from where it was saved...", paused: "Going on..." }.freeze

    def initialize(app, _env)
      @app = app
      @started = false
    end

    def call(env)
      @machine = env[:machine]
      @driver = @machine.provider.driver
      @interrupted = -> { env[:interrupted] }
      before = @driver.state
      env[:ui].output(WORDS[before]) if WORDS.key?(before)
      bring_up(before)
      set_clock if env[:snapshot_name] || %i[saved paused].include?(before)
      @app.call(env)
    end

    def recover(env)
      @driver.stop if @started && env["vagrant.error"].is_a?(Vagrant::Errors::VagrantInterrupt)
    end

    private

    def bring_up(before)
      ready = false
      if before == :paused
        @driver.continue
      elsif before != :running
        @started = true
        @driver.start(@interrupted)
      end
      wait_for_banner
      wait_for_login
      ready = true
    ensure
      # Also when this very process is being ended.
      @driver.stop if @started && !ready
    end

    def wait_for_banner
      limit = @machine.config.vm.boot_timeout
      start = now
      # Each call costs the guest a process, and a slow one would never come to an end of them. But one that is made
      # too early is lost, so the first are short.
      until banner_within(((now - start) / 8).clamp(1, 10))
        raise Error, "no ssh from the guest in #{limit} seconds.#{kvm}#{console}" if now - start > limit

        sleep 0.2
      end
    end

    def banner_within(seconds)
      check_alive
      patient_until = now + seconds
      Ports.banner?(@driver.port) do
        check_alive
        now < patient_until
      end
    end

    def check_alive
      raise Vagrant::Errors::VagrantInterrupt if @interrupted.call
      raise Error, "the guest ended before its ssh was there.#{console}" unless @driver.process.alive?
      # What the console said before belongs to another boot.
      raise Error, "the guest's kernel panicked.#{console}" if @started && @driver.process.panicked?
      return unless @driver.process.status == "io-error"

      raise Error, "the guest can't write to its disk, since the one where .vagrant lies is full: " \
                   "make room there, then vagrant up"
    end

    # Vagrant's own waiter looks once in a second.
    def wait_for_login
      waiter = Thread.new { @machine.communicate.wait_for_ready(@machine.config.vm.boot_timeout) }
      waiter.report_on_exception = false
      until waiter.join(0.1)
        check_alive
      end
      raise Error, "the guest's ssh is there and lets nobody in as #{@machine.ssh_info[:username]}: " \
                   "vagrant destroy, then vagrant up" unless waiter.value
    ensure
      waiter&.kill
    end

    # A saved machine's clock stands still.
    def set_clock
      @machine.communicate.sudo("date -u -s @#{Time.now.to_i}", error_check: false)
    end

    def console
      words = @driver.process.last_words
      said = words.empty? ? " It said nothing" : " The last it said:\n  #{words.join("\n  ")}\nAll of it"
      "#{said}: #{@machine.data_dir.join(Launch::CONSOLE)}. For a new machine: vagrant destroy, then vagrant up"
    end

    def kvm
      " On some machines KVM opens, and then the guest hangs: unset STAGES_KVM." if @machine.provider_config.kvm
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
