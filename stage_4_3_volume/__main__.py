from stages.launch import main

raise SystemExit(main("stage_4_3_volume"))
