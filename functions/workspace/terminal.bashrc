# What a terminal's shell starts with; the user's own settings come last.
[ -r /etc/bash.bashrc ] && . /etc/bash.bashrc
alias ls='ls --color=auto' grep='grep --color=auto' ll='ls -l'
PS1='\[\e[1;32m\]\u\[\e[0m\]:\[\e[1;34m\]\w\[\e[0m\]\$ '
[ -r ~/.bashrc ] && . ~/.bashrc
