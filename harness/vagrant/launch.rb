require_relative "command"
require_relative "disk"
require_relative "monitor"

module Slirp
  # How qemu is started for a machine. All files are named from the machine's directory, where it is started:
  # so neither blanks, nor commas (which qemu's options split at), nor a long path matter.
  class Launch
    PROGRAM = "qemu-system-x86_64"
    CONSOLE = "console.log"
    PIDFILE = "qemu.pid"
    # The node that snapshots are taken of.
    NODE = "disk"
    # no_timer_check: on a busy machine the emulated timer comes too late for that check.
    # https://docs.kernel.org/admin-guide/kernel-parameters.html
    ROOT = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off no_timer_check quiet"

    # id: on the command line, that this qemu is known again. config: Config. box: BoxFiles.
    # forwards: [[protocol, host address, host port, guest port], ...]
    def initialize(id, config, box, forwards)
      @id = id
      @config = config
      @box = box
      @forwards = forwards
    end

    def command(wake: nil)
      [PROGRAM, "-name", @id, *hardware, *disk, *network, *boot,
       "-nodefaults", "-display", "none", "-daemonize", "-pidfile", PIDFILE,
       "-serial", "file:#{CONSOLE}", "-qmp", "unix:#{Monitor::SOCKET},server=on,wait=off",
       *(["-loadvm", wake] if wake)]
    end

    # What must be the same when a snapshot's memory is loaded as when it was saved; in words for a sentence.
    def traits
      { "qemu" => Command.run(PROGRAM, "--version").out[/version (.+)$/, 1],
        "processor" => accelerator.values_at(:name, :cpu).join(" "),
        "STAGES_CPUS" => @config.cpus.to_s,
        "STAGES_MEMORY" => @config.memory.to_s,
        "kernel arguments" => @config.kernel_args,
        "network" => @config.network ? "open" : "closed",
        "box" => @box.directory.to_s }
    end

    private

    # Nehalem is what software emulation does fastest.
    def accelerator
      @config.kvm ? { name: "kvm", cpu: "host" } : { name: "tcg", options: ",thread=multi,tb-size=512", cpu: "Nehalem" }
    end

    def hardware
      ["-machine", "q35", "-accel", "#{accelerator[:name]}#{accelerator[:options]}", "-cpu", accelerator[:cpu],
       "-smp", @config.cpus.to_s, "-m", @config.memory.to_s, "-device", "virtio-rng-pci"]
    end

    # A machine that is thrown away needs no disk that outlives a power cut: cache=unsafe, in -blockdev's words.
    def disk
      ["-blockdev", "driver=qcow2,node-name=#{NODE},discard=unmap,cache.no-flush=on," \
                    "file.driver=file,file.filename=#{Disk::FILE},file.discard=unmap,file.cache.no-flush=on",
       "-device", "virtio-blk-pci,drive=#{NODE}"]
    end

    def network
      forwards = @forwards.map { |protocol, address, host, guest| ",hostfwd=#{protocol}:#{address}:#{host}-:#{guest}" }
      ["-netdev", "user,id=net,restrict=#{@config.network ? "off" : "on"}#{forwards.join}",
       "-device", "virtio-net-pci,netdev=net,romfile="]
    end

    # A box without a kernel beside its disk starts by its own boot loader.
    def boot
      return [] unless @box.kernel

      ["-kernel", @box.kernel, "-append", "#{ROOT} #{@config.kernel_args}".strip,
       *(["-initrd", @box.initrd] if @box.initrd)]
    end
  end
end
