module github.com/shardnode/shardnode/tools/emulate

go 1.26.0
