# `stages` and `zocker` are commands, of the checkout that was brought along.
PATH=/vagrant/bin:$PATH
