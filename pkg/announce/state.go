package announce

// State is where a VIP stands. The zero value is Starting.
type State int

// The states of a VIP.
const (
	Starting    State = iota // no verdict on its service's health yet
	Settling                 // up, but not for long enough, or its address is not on the host yet
	Up                       // announced
	Withdrawn                // down: withdrawn, or found down and never announced
	Stopping                 // the agent stops: withdrawn for good
	Draining                 // to be withdrawn: announced de-preferred until the traffic has moved
	Withdrawing              // drained and withdrawn, but not every router was told yet
	Drained                  // withdrawn on request, and every router was told
	Degraded                 // it works, but a remote dependency does not: announced de-preferred
	Bridged                  // down, for a moment perhaps: its packets are carried to another host, routers were told nothing
	DePreferred              // down, bridged, announced de-preferred until the traffic has moved
	Held                     // down, and a guard keeps it announced, de-preferred and marked
	Isolated                 // up, but no session carries it: announced as soon as one does
)

// states are all of them, for metrics, the worst for its clients last: a service is shown in the worst of its VIPs' states.
var states = [...]State{
	Up, Degraded, Draining, Bridged, DePreferred, Settling, Starting, Withdrawing, Drained, Stopping, Isolated, Held, Withdrawn,
}

// String returns the name in lower case, as it stands in journal and metrics.
func (s State) String() string {
	switch s {
	case Starting:
		return "starting"
	case Settling:
		return "settling"
	case Up:
		return "up"
	case Withdrawn:
		return "withdrawn"
	case Stopping:
		return "stopping"
	case Draining:
		return "draining"
	case Withdrawing:
		return "withdrawing"
	case Drained:
		return "drained"
	case Degraded:
		return "degraded"
	case Bridged:
		return "bridged"
	case DePreferred:
		return "depreferred"
	case Held:
		return "held"
	case Isolated:
		return "isolated"
	default:
		return "invalid"
	}
}

// announcement returns the action that leads to what s announces.
func (s State) announcement() Action {
	switch s {
	case Up, Bridged, Isolated:
		return Announce
	case Draining, Degraded, DePreferred, Held:
		return Deprefer
	default:
		return Withdraw
	}
}

// marked tells whether what s announces says that its host is sick.
func (s State) marked() bool { return s == DePreferred || s == Held }

// served tells whether s is that of a VIP that is served here, and by its announcement if there is a session.
func (s State) served() bool { return s == Up || s == Degraded || s == Isolated }

// sick tells whether s is that of a VIP that was served here and is not.
func (s State) sick() bool {
	return s == Bridged || s == DePreferred || s == Held || s == Withdrawn
}

// Action is what a Decision asks for. The zero value is None.
type Action int

// The actions of a Decision.
const (
	None Action = iota
	Announce
	Withdraw
	Deprefer
)

var actions = [...]Action{None, Announce, Withdraw, Deprefer}

// String returns "none", "announce", "withdraw" or "deprefer".
func (a Action) String() string {
	switch a {
	case None:
		return "none"
	case Announce:
		return "announce"
	case Withdraw:
		return "withdraw"
	case Deprefer:
		return "deprefer"
	default:
		return "invalid"
	}
}
