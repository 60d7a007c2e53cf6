require "vagrant"

module Slirp
  # What the user can do something about, said in a sentence; Vagrant prints it and ends with 1.
  class Error < Vagrant::Errors::VagrantError
    def initialize(sentence)
      @sentence = sentence
      super()
    end

    def error_message
      @sentence
    end
  end
end
