require "vagrant"
require_relative "boot"
require_relative "create"
require_relative "hold_lock"

module Slirp
  # What each of Vagrant's commands does to a machine, as a chain of middleware:
  # https://developer.hashicorp.com/vagrant/docs/plugins/action-hooks
  # In it, what is done after `Boot` stands before it, for it is wrapped around.
  module Actions
    include Vagrant::Action::Builtin

    module_function

    def up
      locked do |chain|
        chain.use ConfigValidate
        chain.use Call, IsState, :not_created do |env, inner|
          inner.use(env[:result] ? Create : note_of_other_box)
          inner.use running
        end
      end
    end

    def reload
      created do |chain|
        chain.use ConfigValidate
        chain.use off
        chain.use running
      end
    end

    def resume
      created do |chain|
        chain.use Call, IsState, :poweroff do |env, inner|
          next inner.use(say("It is not suspended: vagrant up boots it.")) if env[:result]

          inner.use Boot
        end
      end
    end

    def suspend
      created do |chain|
        chain.use step { |driver, env|
          case driver.state
          when :saved then env[:ui].info("It is suspended already.")
          when :poweroff then env[:ui].info("It is off: there is nothing to suspend.")
          else
            env[:ui].output("Saving what it does...")
            driver.snapshots.suspend
          end
        }
      end
    end

    def halt
      created { |chain| chain.use off }
    end

    def destroy
      created do |chain|
        chain.use Call, DestroyConfirm do |env, inner|
          next inner.use(say("It stays.")) unless env[:result]

          inner.use ProvisionerCleanup, :before
          inner.use step { |driver, inner_env|
            inner_env[:ui].output("Destroying it...")
            driver.destroy
          }
        end
      end
    end

    def provision
      at_work do |chain|
        chain.use ConfigValidate
        chain.use Provision
      end
    end

    def sync_folders
      at_work { |chain| chain.use SyncedFolders }
    end

    # These two take no lock: there may be many at once, and they may be long.
    def ssh
      build do |chain|
        chain.use reachable
        chain.use SSHExec
      end
    end

    def ssh_run
      build do |chain|
        chain.use reachable
        chain.use SSHRun
      end
    end

    def snapshot_save
      created do |chain|
        chain.use(step { |driver, env|
          env[:ui].info(I18n.t("vagrant.actions.vm.snapshot.saving", name: env[:snapshot_name]))
          driver.snapshots.save(env[:snapshot_name])
        })
      end
    end

    def snapshot_delete
      created { |chain| chain.use(deletion) }
    end

    def snapshot_restore
      created do |chain|
        chain.use Call, IsEnvSet, :snapshot_start do |env, inner|
          start = env[:result]
          inner.use(step { |driver, inner_env|
            inner_env[:ui].info(I18n.t("vagrant.actions.vm.snapshot.restoring", name: inner_env[:snapshot_name]))
            driver.snapshots.restore(inner_env[:snapshot_name], start: start)
          })
          inner.use Boot if start
          inner.use deletion if env[:snapshot_delete]
        end
      end
    end

    # --- what they are made of ---

    def build(&block)
      Vagrant::Action::Builder.new.tap(&block)
    end

    def locked
      build do |chain|
        chain.use HoldLock
        yield chain
      end
    end

    # For a machine that is there. A command without a name goes to all machines, and most are never made.
    def created(&block)
      locked do |chain|
        chain.use Call, IsState, :not_created do |env, inner|
          next inner.use(say("There is no such machine yet: vagrant up makes it.")) if env[:result]

          block.call(inner)
        end
      end
    end

    def at_work(&block)
      created do |chain|
        chain.use reachable
        block.call(chain)
      end
    end

    def running
      build do |chain|
        chain.use Provision
        chain.use SyncedFolderCleanup
        chain.use SyncedFolders
        chain.use Boot
      end
    end

    def off
      build do |chain|
        chain.use(step { |driver, env| make_haltable(driver, env) })
        chain.use Call, GracefulHalt, :poweroff, :running do |env, inner|
          inner.use(step { |driver, _env| driver.stop }) unless env[:result]
        end
      end
    end

    # A paused guest can't shut itself down, and a suspended one need not.
    def make_haltable(driver, env)
      case driver.state
      when :saved
        env[:ui].info("Giving up what it did when it was suspended...")
        driver.snapshots.discard
      when :paused then driver.continue unless env[:force_halt]
      end
    end

    # Vagrant goes on with the box that a machine was made from.
    def note_of_other_box
      step do |_driver, env|
        box, wanted = env[:machine].box&.name, env[:machine].config.vm.box
        next if box.nil? || box == wanted

        env[:ui].warn("It was made from the box #{box}, and now #{wanted} is asked for: vagrant destroy, then vagrant up")
      end
    end

    def deletion
      step do |driver, env|
        env[:ui].info(I18n.t("vagrant.actions.vm.snapshot.deleting", name: env[:snapshot_name]))
        driver.snapshots.delete(env[:snapshot_name])
      end
    end

    def reachable
      step do |driver, env|
        name = env[:machine].name
        case driver.state
        when :not_created then raise Error, "there is no machine #{name} yet: vagrant up #{name} makes it"
        when :poweroff then raise Error, "#{name} is off: vagrant up #{name} boots it"
        when :saved, :paused then raise Error, "#{name} is suspended: vagrant resume #{name}"
        when :preparing then raise Error, "#{name} is being made: wait until vagrant up is done"
        end
      end
    end

    def step
      ->(env) { yield env[:machine].provider.driver, env }
    end

    def say(sentence)
      ->(env) { env[:ui].info(sentence) }
    end
  end
end
