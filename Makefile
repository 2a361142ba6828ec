# The two commands of the README are `make demo` and `make test`; the rest is what they are made of.
.PHONY: build demo demo-kube test prepare lint unit fuzz bench bench-dns bench-kube install clean

# Root is asked for only where the kernel does not let users make namespaces (docs/labs.md).
SUDO := $(shell [ "$$(id -u)" = 0 ] || { [ -n "$$XDG_RUNTIME_DIR" ] && unshare --user --map-root-user --net --mount true 2>/dev/null; } || echo sudo)
STATIC := CGO_ENABLED=0 GOFLAGS=-trimpath
TOOL := go tool -modfile=tools/go.mod
TEST := $(TOOL) gotestsum --format pkgname -- -race -shuffle=on -timeout 15m
FUZZTIME ?= 60s
RUNS ?= 20
FAULTS ?= service-kill dns-kill agent-kill service-hang agent-hang link-down link-loss host-down drain

build: # static programs in bin/
	$(STATIC) go build -buildvcs=auto -o bin/ ./cmd/...

demo: build # the product doing its job, in network namespaces; asks for sudo where it is needed
	@$(SUDO) bin/edgelab demo quickstart

demo-kube: build # both programs with a real Kubernetes control plane on this machine; its first build takes minutes
	@./tools/kube/build >/dev/null
	@$(STATIC) go run ./internal/kubedemo bin

test: prepare build lint unit # everything that CI runs

prepare: # what the tests need beside Go: installed as root on Debian, else named
	@./tools/prepare
	@./tools/kube/build >/dev/null

lint: # compiles as build does, so that nothing is compiled twice
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "gofmt: $$files"; exit 1; }
	$(STATIC) go vet ./...
	$(STATIC) $(TOOL) staticcheck ./...

unit: # race detector, shuffled; skipped tests are listed at the end. The labs measure milliseconds: they run alone. The simulation needs no race detector
	$(TEST) $$(go list ./... | grep -v /cmd/edgelab$$)
	$(TEST) ./cmd/edgelab
	$(STATIC) ANYEDGE_SIM_FULL=1 go test -run 'TestSimulation$$' -v ./pkg/steering

fuzz: # every fuzz test for FUZZTIME
	@./tools/fuzz $(FUZZTIME)

bench: build # the figures of docs/measurements.md
	set -e; for fault in $(FAULTS); do bin/edgelab run quickstart $$fault --runs $(RUNS) --probe-interval 1ms; done

bench-dns: bin/benchdns # edgedns beside gdnsd, Knot, NSD, CoreDNS and a bare echo; BENCHFLAGS="-o json --rounds 3"
	bin/benchdns $(BENCHFLAGS)

bench-kube: bin/benchdns # edgedns beside CoreDNS, both with the endpoints of a real Kubernetes API
	@./tools/kube/build >/dev/null
	bin/benchdns --cluster 2000 $(BENCHFLAGS)

bin/benchdns: build
	cc -O2 -Wall -o bin/dnsgen tools/dnsgen/dnsgen.c -lm
	cd tools/coredns && go build -trimpath -o ../../bin/coredns .
	go build -o bin/benchdns ./internal/benchdns

install: build # DESTDIR and PREFIX (/usr/local): programs, man pages, completions, units, samples
	tools/install

clean:
	rm -rf bin out
