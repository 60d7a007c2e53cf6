from stages.launch import main

raise SystemExit(main("stage_5_2_ps"))
