from stages.launch import main

raise SystemExit(main("stage_5_5_stop"))
