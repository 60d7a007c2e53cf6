from stages.launch import main

raise SystemExit(main("stage_commit"))
