// Package debughttp is the one listener for people and scrapers: /metrics and /debug/pprof, on an address of its own.
package debughttp
