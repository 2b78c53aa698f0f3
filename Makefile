# The habits of this repository. `make` is what must pass before a commit.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory

BIN      := $(CURDIR)/bin
PKG      ?= ./...
FUZZTIME ?= 20s

# Pinned tools. bin/NAME is rebuilt when its pin moves.
golangci-lint := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
protoc-gen-go := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
deadcode      := golang.org/x/tools/cmd/deadcode@v0.52.0
TOOLS         := golangci-lint protoc-gen-go deadcode
PROTOC        := 3.21.12 # its version stands in the generated files

# Systems that members run.
SYSTEMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# Files that `make gen` writes.
GENERATED := transport/wirepb/*.pb.go tensorio/vec/kernels_amd64.* tensorio/quant/*_avx*_amd64.*

.PHONY: all
all: format lint test

.PHONY: help
help: ## lists the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

stamp = $(BIN)/.$(1)@$(lastword $(subst @, ,$($(1))))

.PHONY: tools
tools: $(foreach t,$(TOOLS),$(call stamp,$(t))) ## installs the pinned tools into bin/

define install
$(call stamp,$(1)):
	@mkdir -p $(BIN) && rm -f $(BIN)/.$(1)@*
	GOBIN=$(BIN) GOFLAGS= go install $($(1))
	@touch $$@
endef
$(foreach t,$(TOOLS),$(eval $(call install,$(t))))

.PHONY: format
format: $(call stamp,golangci-lint) ## formats every Go file
	$(BIN)/golangci-lint fmt ./...

.PHONY: lint
lint: $(call stamp,golangci-lint) ## runs the linters of .golangci.yml
	$(BIN)/golangci-lint run ./...

.PHONY: test
test: ## runs all tests
	go test ./...

.PHONY: arch
arch: ## tests the architecture: floors, doors, comments, lengths
	go test -count=1 -run '^TestArchitecture' ./cmd/shardnode

.PHONY: race
race: ## runs all tests, shuffled, under the race detector
	go test -race -shuffle=on ./...

.PHONY: swarm
swarm: ## plays the scenario of a large swarm with PEERS members in virtual time
	go test ./shard/member -run 'TestSwarmScenarios/storm' -swarm $(or $(PEERS),200) -timeout 60m -v

.PHONY: fuzz
fuzz: ## runs every fuzz target for FUZZTIME, those of PKG only if given
	@go list -f '{{.Dir}}' $(PKG) | while read -r dir; do \
		{ grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go 2>/dev/null || true; } | while read -r _ name; do \
			echo "== $${dir#$(CURDIR)/} $$name"; \
			(cd "$$dir" && go test -tags fuzzing -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) . </dev/null) || exit 1; \
		done; \
	done

COMPARE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/shardnode/compare

# The models that `make compare` measures: those of MODELS, and random ones in
# the shape of Llama-3.2-1B.
RANDOM_TYPES := Q8_0 Q4_0 Q4_K_M Q6_K F16
RANDOM_MODELS := $(RANDOM_TYPES:%=$(COMPARE)/llama-3.2-1b-%.gguf)

$(COMPARE)/llama-3.2-1b-%.gguf:
	@mkdir -p $(COMPARE)
	go run ./cmd/shardnode inspect llama-3.2-1b --write-random $@ --types $*

.PHONY: busy
busy: ## measures decoding beside a busy loop on each processor: MODEL=a.gguf
	@mkdir -p $(BIN) && go build -o $(BIN)/shardnode ./cmd/shardnode
	@BIN=$(BIN)/shardnode tools/busy.sh $(MODEL)

# MODEL names the model of `make kill` and `make soak`; without it, the embedded
# story runs. FLAGS="-kills 10 -link latency=20ms,loss=1%" changes the rest.
KILL = @mkdir -p $(BIN) && go build -o $(BIN)/shardnode ./cmd/shardnode && \
	go run ./tools/kill -shardnode $(BIN)/shardnode -model "$(MODEL)"

.PHONY: kill
kill: ## kills members that serve answers, 50 times: MODEL=a.gguf, FLAGS="-stop" or "-drain"
	$(KILL) $(FLAGS)

.PHONY: soak
soak: ## ten minutes in which members come and go; memory and descriptors stay flat
	$(KILL) -soak 10m $(FLAGS)

# A browser for `make pages`; SHOTS=folder keeps pictures of the pages.
CHROMIUM ?= $(firstword $(foreach b,chromium chromium-browser google-chrome,$(shell command -v $(b) 2>/dev/null)))

.PHONY: pages
pages: ## looks at the chat and swarm pages in headless Chromium: SHOTS=folder keeps pictures
	@test -n "$(CHROMIUM)" || { echo "make pages needs Chromium: apt-get install chromium" >&2; exit 1; }
	SHARDNODE_CHROMIUM=$(CHROMIUM) SHARDNODE_SHOTS=$(SHOTS) go test -count=1 -timeout 5m -run '^TestBrowser' ./shard/web

.PHONY: compare
compare: $(RANDOM_MODELS) ## measures beside llama.cpp and ik_llama.cpp: MODELS="a.gguf b.gguf" adds some, FLAGS="-rounds 3"
	tools/compare/build.sh $(COMPARE)
	go build -o $(COMPARE)/shardnode ./cmd/shardnode
	go run ./tools/compare -cache $(COMPARE) -shardnode $(COMPARE)/shardnode $(FLAGS) \
		-models $$(echo $(MODELS) $(RANDOM_MODELS) | tr ' ' ,)

.PHONY: bench
bench: ## runs the benchmarks of PKG six times into bench.txt
	go test -run '^$$' -bench . -benchmem -count 6 $(PKG) | tee bench.txt

.PHONY: gen
gen: $(call stamp,protoc-gen-go) ## writes all generated code from scratch
	@protoc --version | grep -qFx 'libprotoc $(strip $(PROTOC))' || \
		{ echo "make gen needs protoc $(strip $(PROTOC)): apt-get install protobuf-compiler" >&2; exit 1; }
	protoc --plugin=$(BIN)/protoc-gen-go --go_out=. --go_opt=paths=source_relative transport/wirepb/*.proto
	go generate ./...
	cd tensorio/gen && for form in avx2 avxvnni avx512; do go run . -form $$form -pkg quant -out ../quant/mul_$${form}_amd64.s \
		-stubs ../quant/mul_$${form}_amd64.go -table ../quant/tiles_$${form}_amd64.go || exit; done

.PHONY: gen-check
gen-check: ## fails if make gen changes a file
	@before=$$(sha256sum $(GENERATED)); $(MAKE) gen; \
		sha256sum --quiet -c <<<"$$before" || \
		{ echo "generated files were out of date and are new now: commit them" >&2; exit 1; }

# The tests of shard/openai compile a whole client library for every system;
# their package is vetted on this one alone.
.PHONY: cross
cross: ## builds and vets for every system that members run
	@for system in $(SYSTEMS); do \
		echo "== $$system"; \
		export CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/}; \
		go build ./... && go vet $$(go list ./... | grep -v shard/openai); \
	done

# A Cortex-A72 has no dot-product extension. SHARDNODE_TEST_SIMD makes sure that
# the form runs that is meant.
emulated = GOARCH=arm64 CGO_ENABLED=0 go test -count=1 -exec "qemu-aarch64 -cpu $(1)"

.PHONY: arm64
arm64: ## tests the NEON kernels, and whole models, on emulated processors
	@command -v qemu-aarch64 >/dev/null || \
		{ echo "make arm64 needs qemu-aarch64: apt-get install qemu-user" >&2; exit 1; }
	SHARDNODE_TEST_SIMD=neondot $(call emulated,max) ./tensorio/quant ./tensorio/vec
	SHARDNODE_TEST_SIMD=neon $(call emulated,cortex-a72) -run 'TestBits|Form.*Runs' ./tensorio/quant ./tensorio/vec
	@for form in neondot neon ref; do \
		echo "== models, $$form"; \
		SHARDNODE_SIMD=$$form $(call emulated,max) -run OnEveryMachine ./shard/model || exit 1; \
	done

.PHONY: deadcode
deadcode: $(call stamp,deadcode) ## fails if a function cannot be reached
	@out=$$($(BIN)/deadcode -test ./...); [ -z "$$out" ] || { echo "$$out"; exit 1; }

# Slow: tens of millions of instructions a second. It downloads a kernel and the
# source of an emulator into the user's cache folder, once.
EMULATE_PKG := $(if $(filter-out ./...,$(PKG)),$(PKG),tensorio/vec tensorio/quant)
.PHONY: emulate
emulate: ## tests the AVX-512 kernels on an emulated processor: PKG, RUN, SIMD choose
	@cd tools/emulate && go run . -repo $(CURDIR) -simd $(or $(SIMD),avx512) \
		-run '$(or $(RUN),TestWantedFormRuns|TestFastForms|TestProducts|TestSumsCan|TestTheFormThat|TestEveryForm|TestQuantizedActivations|TestBitsAre)' $(EMULATE_PKG)
