require "vagrant"
require_relative "box"

module Slirp
  # Gets the box, building it if need be, and makes the machine's disk.
  class Create
    def initialize(app, _env)
      @app = app
      @created = false
    end

    def call(env)
      fetch_box(env) unless env[:machine].box
      raise Error, "the box #{env[:machine].config.vm.box} has no form that qemu can start" unless env[:machine].box

      env[:machine].provider.driver.create
      @created = true
      @app.call(env)
    end

    # Half a first boot is nothing to go on from.
    def recover(env)
      env[:machine].provider.driver.destroy if @created && env["vagrant.error"].is_a?(Vagrant::Errors::VagrantInterrupt)
    end

    private

    # Two checkouts may want the same box at once.
    def fetch_box(env)
      env[:machine].env.lock("stages-box", retry: true) do
        build(env) if env[:machine].config.vm.box == Box.built.first
        Vagrant::Action::Builtin::HandleBox.new(->(_env) {}, env).call(env)
      end
    end

    def build(env)
      Box.build(-> { env[:interrupted] }) { |line| env[:ui].detail(line) }
    end
  end
end
