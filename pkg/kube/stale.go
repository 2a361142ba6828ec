package kube

// What clients are told of names that may not be as the cluster has them: no more than that, for anybody may ask.
const (
	staleAway  = "the cluster's API cannot be read"
	staleDoubt = "the cluster's API tells of nothing that was known"
)

// Stale tells why what is known of the objects of a namespace may be old, by namespace; the empty one stands for all. Those that are not in it
// are as the API told last. Changed receives when it becomes another one.
func (s *Source) Stale() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := make(map[string]string)
	for _, r := range s.readers {
		switch {
		case r.failing.Load():
			why[r.namespace] = staleAway
		case !r.lost.IsZero() && why[r.namespace] == "":
			why[r.namespace] = staleDoubt
		}
	}
	return why
}
