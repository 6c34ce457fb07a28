" After :compiler reconciler, :make validates the domain file and jumps to its problems.
if exists('current_compiler')
  finish
endif
let current_compiler = 'reconciler'

CompilerSet makeprg=reconciler\ validate\ %:S
CompilerSet errorformat=%f:%l:\ %trror:\ %m,%f:%l:\ %tarning:\ %m,%-G%.%#
