from stages.launch import main

raise SystemExit(main("stage_4_4_package"))
