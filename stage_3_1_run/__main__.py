from stages.launch import main

raise SystemExit(main("stage_3_1_run"))
