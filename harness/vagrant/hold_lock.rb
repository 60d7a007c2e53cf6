require_relative "lock"

module Slirp
  # What follows is done by one vagrant at a time.
  class HoldLock
    def initialize(app, _env)
      @app = app
    end

    def call(env)
      Lock.for(env[:machine]).hold { @app.call(env) }
    end
  end
end
