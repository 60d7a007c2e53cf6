require "vagrant"

# The parts are loaded when Vagrant asks for them: the commands that need none start sooner.
module Slirp
  class Plugin < Vagrant.plugin("2")
    name "slirp"
    description "One qemu process as a virtual machine, and folders that are copied by tar over ssh."

    config(:slirp, :provider) do
      require_relative "config"
      Config
    end

    # Boxes for libvirt are qemu's disks.
    provider(:slirp, box_format: %w[libvirt qemu], parallel: false, priority: 6) do
      require_relative "provider"
      Provider
    end

    provider_capability(:slirp, :snapshot_list) do
      require_relative "snapshot_list"
      SnapshotList
    end

    synced_folder(:tar, 1) do
      require_relative "tar_folder"
      TarFolder
    end
  end
end
