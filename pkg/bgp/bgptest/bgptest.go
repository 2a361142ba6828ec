// Package bgptest is a real second BGP speaker for tests: it passively accepts a session and tells what it was sent.
package bgptest
