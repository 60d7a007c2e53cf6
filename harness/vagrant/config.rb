require "vagrant"
require_relative "settings"

module Slirp
  # What the Vagrantfile says in `config.vm.provider :slirp`; what it leaves out is as the environment says.
  class Config < Vagrant.plugin("2", :config)
    # cpus, memory (MiB): whole numbers. kernel_args: text after the usual arguments. network: whether the guest
    # reaches the world through this machine; without it, it is reached by ssh and forwarded ports only.
    attr_accessor :cpus, :memory, :kernel_args, :kvm, :network

    def initialize
      @cpus = @memory = @kernel_args = @kvm = @network = UNSET_VALUE
    end

    def finalize!
      @cpus = Settings.cpus if @cpus == UNSET_VALUE
      @memory = Settings.memory if @memory == UNSET_VALUE
      @kernel_args = Settings.kernel_args if @kernel_args == UNSET_VALUE
      @kvm = Settings.kvm? if @kvm == UNSET_VALUE
      @network = false if @network == UNSET_VALUE
    end
  end
end
