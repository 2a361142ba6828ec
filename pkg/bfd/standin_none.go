//go:build race || !(amd64 || arm64)

package bfd

// run does nothing: the race detector watches package atomic, which needs the runtime; elsewhere nobody has tried.
func (s *standIn) run() {}
