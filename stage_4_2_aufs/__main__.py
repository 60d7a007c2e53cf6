from stages.launch import main

raise SystemExit(main("stage_4_2_aufs"))
