" :compiler reconciler, then :make jumps from one problem of a domain file to the next.
if exists('current_compiler')
  finish
endif
let current_compiler = 'reconciler'

CompilerSet makeprg=reconciler\ validate\ %:S
CompilerSet errorformat=%f:%l:\ %trror:\ %m,%f:%l:\ %tarning:\ %m,%-G%.%#
