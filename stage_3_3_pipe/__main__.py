from stages.launch import main

raise SystemExit(main("stage_3_3_pipe"))
