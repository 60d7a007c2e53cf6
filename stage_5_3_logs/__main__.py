from stages.launch import main

raise SystemExit(main("stage_5_3_logs"))
