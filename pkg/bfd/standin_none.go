//go:build race || !(amd64 || arm64)

package bfd

import "golang.org/x/sys/unix"

// run sends as any goroutine does, when the world does not stand still: the race detector watches package atomic, which
// needs the runtime then; and on other machines nobody has tried.
func (s *standIn) run() {
	end := []unix.PollFd{s.end}
	for end[0].Revents == 0 {
		s.timeout = unix.NsecToTimespec(s.cover(monotonic()))
		_, _ = unix.Ppoll(end, &s.timeout, nil)
	}
}
