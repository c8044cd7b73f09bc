# Redoubt. `make` or `make help` lists the targets.
SHELL := /bin/bash
GO ?= go
PREFIX ?= /usr/local
LDFLAGS := -s -w
FUZZTIME ?= 10s
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Packages whose tests are about goroutines: they run under the race detector.
RACE ?= ./internal/... ./journal/... ./blockdev/... ./ship/... ./cluster/... ./target/... ./source/... ./admin/...

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/redoubtd and bin/redoubt
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/redoubtd ./cmd/redoubt

.PHONY: deps
deps: ## install or name the Debian packages that tests and demo need
	@bash scripts/deps.sh

.PHONY: demo
demo: deps build ## the whole way on loopback: protect, fail over, come back (under 3 minutes)
	bin/redoubt demo

.PHONY: crashtest
crashtest: build ## the crash contract: SECONDS=60; BROKEN=1 shows that the judge sees broken builds
	bin/redoubt crashtest --seconds $(or $(SECONDS),60) --dir $(or $(DIR),bin) $(if $(filter-out 0,$(BROKEN)),--broken all)

.PHONY: powercut
powercut: deps ## power cuts of a real file system under redoubtd, about 1 s each: ROUNDS=200 (root)
	$(GO) test ./systest -run '^TestPowerCut' -count=1 -v -timeout 60m -args -powercut.rounds=$(or $(ROUNDS),200)

.PHONY: test
test: deps ## all tests (about 20 minutes on two cores)
	$(GO) test -timeout 45m ./...

.PHONY: fsstress
fsstress: deps ## kill -9 under ext4, xfs and btrfs on a protected disk: ROUNDS=30 in all; as root
	REDOUBT_FS_ROUNDS=$(or $(ROUNDS),30) $(GO) test -count=1 -v -timeout 60m -run 'TestFileSystems' ./systest

# The judges of failover and of the cluster; see docs/TESTING.md.
JUDGE = $(GO) test -count=1 -v ./systest $(1) -args -judge.seed=$(or $(SEED),0) $(if $(filter-out 0,$(BROKEN)),-judge.broken=$(BROKEN)) $(2)

.PHONY: failovertest
failovertest: deps ## unplanned failovers in disasters of all kinds, about 6 s each: ROUNDS=50 SEED=n; BROKEN=receipt|orphans (root)
	$(call JUDGE,-timeout 120m -run '^TestUnplannedFailovers$$',-judge.rounds=$(or $(ROUNDS),50))

.PHONY: splitbrain
splitbrain: deps ## both sites write, then meet again: ROUNDS=20 SEED=n; BROKEN=fence (root)
	$(call JUDGE,-timeout 60m -run '^TestSplitBrain$$',-judge.rounds=$(or $(ROUNDS),20))

.PHONY: wirebytes
wirebytes: deps ## what a failback puts on the wire, counted by the kernel: MIB=16 changed on each side; BROKEN=whole (root)
	$(call JUDGE,-timeout 30m -run '^TestBytesOnTheWire$$',-judge.rounds=$(or $(MIB),16))

.PHONY: databases
databases: deps ## PostgreSQL and SQLite on a protected disk, checked at ROUNDS=40 points and after planned and unplanned failover: SEED=n; BROKEN=stale|stop (root)
	$(call JUDGE,-timeout 60m -run '^TestDatabases$$',-judge.rounds=$(or $(ROUNDS),40))

.PHONY: chaos
chaos: deps ## nodes are killed, paused, wiped and cut off for SECONDS=600 under load: SEED=n; BROKEN=stale (root)
	$(call JUDGE,-timeout 120m -run '^TestChaos$$',-judge.time=$(or $(SECONDS),600)s)

.PHONY: groups
groups: deps ## a thousand small groups on three targets: lag, memory and descriptors; GROUPS=1000 SEED=n (3 minutes)
	$(call JUDGE,-timeout 60m -run '^TestManyGroups$$',-judge.rounds=$(or $(GROUPS),1000))

.PHONY: guest
guest: deps ## a QEMU guest attaches disks with its kernel's NBD client, and loses its power
	$(GO) test -count=1 -v -timeout 20m -run 'TestKernelClient' ./systest

.PHONY: race
race: deps ## tests of the concurrent packages under the race detector
	$(GO) test -race -short -timeout 25m $(RACE)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (default 10s)
	bash scripts/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: ## gofmt, vet, staticcheck, shell syntax, generated code
	bash scripts/lint.sh $(STATICCHECK)

.PHONY: bench
bench: deps build ## fio against loop devices and NBD servers, about 45 minutes; BENCH=-quick for 15; bench/results
	@bash scripts/deps.sh nbd-server=nbd-server || echo "bench: goes on without nbd-server"
	$(GO) run ./bench $(BENCH)

.PHONY: bench-compare
bench-compare: deps ## redoubt of the revision BASE against the working tree, like benchstat; BENCH="-match fsync"
	@[ -n "$(BASE)" ] || { echo "usage: make bench-compare BASE=REVISION [BENCH=FLAGS]" >&2; exit 2; }
	$(GO) run ./bench -compare "$(BASE)" $(BENCH)

.PHONY: rto
rto: build ## time to the first request on a point: 10^3 to 10^6 segments, disks to 16 TiB; RTO="-history 1000", or RTO="-cost 1,10,100": cost per byte by the length of the history (10 minutes, 5 GiB)
	$(GO) run ./bench/rto $(RTO)

.PHONY: rto-failover
rto-failover: build ## RTO of test, planned and unplanned failover, and the writer's pause, over disk sizes and lags; RTO="-disk-gib 1" (6 minutes)
	$(GO) run ./bench/failover $(RTO)

.PHONY: bench-target
bench-target: deps build ## ingest of one and eight groups beside nbdcopy, and a point into a file; BENCH="-mib 256 -rounds 1" (5 minutes)
	$(GO) run ./bench/target $(BENCH)

.PHONY: generate
generate: ## the admin RPC's code from its schema
	bash scripts/generate.sh

# It does not build: sudo has neither Go in its PATH nor a right to the checkout.
.PHONY: install
install: ## what "make build" made, systemd unit and examples, under PREFIX (default /usr/local)
	@[ -x bin/redoubt ] && [ -x bin/redoubtd ] || { echo "install: bin is empty: make build first, not as root" >&2; exit 1; }
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/redoubt bin/redoubtd
	install -d $(DESTDIR)/etc/systemd/system $(DESTDIR)$(PREFIX)/share/doc/redoubt
	sed 's|/usr/bin/|$(PREFIX)/bin/|' packaging/redoubtd.service > $(DESTDIR)/etc/systemd/system/redoubtd.service
	install -m 0644 -t $(DESTDIR)/etc/systemd/system packaging/redoubtd.socket
	cp -R packaging/examples $(DESTDIR)$(PREFIX)/share/doc/redoubt/

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
