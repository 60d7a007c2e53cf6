require "open3"
require "shellwords"
require "vagrant"
require_relative "errors"

module Slirp
  # A synced folder that is copied by one tar over ssh: on `up` and `reload`. Nothing comes back.
  # What was pushed before and is gone here goes there too; what was made there stays.
  class TarFolder < Vagrant.plugin("2", :synced_folder)
    UNPUSHED = File.join(__dir__, "unpushed")

    # $1: the directory; $2: its owner. The list of what was pushed lies beside it, out of the way.
    RECEIVE = <<~'SH'
      set -eu
      list=/var/lib/stages-pushed$(echo "$1" | tr / .)
      mkdir -p "$1" /var/lib
      tar -x -v -o -f - -C "$1" >"$list.new"
      if [ -e "$list" ]; then
          # What is in the old list only: the rest is there twice at least. Files come before their directory.
          sort "$list" "$list.new" "$list.new" | uniq -u | sort -r | while IFS= read -r gone; do
              rm -f "$1/$gone" 2>/dev/null || rmdir "$1/$gone" 2>/dev/null || true
          done
      fi
      mv "$list.new" "$list"
      chown -R "$2:" "$1"
    SH

    def usable?(_machine, raise_error = false)
      missing = %w[tar ssh].find { |program| !Vagrant::Util::Which.which(program) }
      raise Error, "#{missing} is needed to copy folders into the guest, and is not on the PATH" if missing && raise_error

      missing.nil?
    end

    def enable(machine, folders, _options)
      folders.each_value do |folder|
        machine.ui.output("Copying #{folder[:hostpath]} to #{folder[:guestpath]}...")
        push(machine.ssh_info, folder[:hostpath], folder[:guestpath])
      end
    end

    private

    # tar(1) ends with 1 when a file changed under its eyes: the guest has a copy of some moment.
    def push(info, from, to)
      complaint_reader, complaint_writer = IO.pipe
      statuses = Open3.pipeline([Vagrant.original_env.merge("COPYFILE_DISABLE" => "1"),
                                 "tar", "-C", from, "-X", UNPUSHED, "-c", "-f", "-", "."],
                                ssh(info, to), err: complaint_writer, out: File::NULL)
      complaint_writer.close
      return if statuses[0].exitstatus.to_i <= 1 && statuses[1].success?

      raise Error, "#{from} could not be copied to #{to}: #{complaint_reader.read.strip.lines.map(&:strip).last(2).join("; ")}"
    ensure
      [complaint_reader, complaint_writer].compact.each(&:close)
    end

    def ssh(info, to)
      receive = Shellwords.join(["sudo", "sh", "-c", RECEIVE, "sh", to, info[:username]])
      keys = info[:private_key_path].flat_map { |path| ["-i", path] }
      options = %W[LogLevel=ERROR BatchMode=yes StrictHostKeyChecking=no UserKnownHostsFile=/dev/null]
      options << "IdentitiesOnly=yes" if info[:keys_only]
      options << "ProxyCommand=#{info[:proxy_command]}" if info[:proxy_command]
      [Vagrant.original_env, "ssh", "-p", info[:port].to_s, *options.flat_map { |option| ["-o", option] }, *keys,
       *Array(info[:extra_args]), "#{info[:username]}@#{info[:host]}", receive]
    end
  end
end
