package transport

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/transport/wirepb"
)

// Bytes returns m in a form that [ParseMembership] reads: the swarm's shared
// secret is in it. It is how a process hands a membership to one it started.
func (m Membership) Bytes() ([]byte, error) {
	b, err := proto.Marshal(&wirepb.MembershipFile{Swarm: m.swarm[:], Secret: m.secret[:], Membership: m.signed})
	if err != nil {
		return nil, fmt.Errorf("encode membership: %w", err)
	}
	return b, nil
}

// ParseMembership reads what [Membership.Bytes] returned.
func ParseMembership(b []byte) (Membership, error) {
	var pb wirepb.MembershipFile
	if err := proto.Unmarshal(b, &pb); err != nil {
		return Membership{}, fmt.Errorf("membership: %w", err)
	}
	return newMembership(pb.GetSwarm(), pb.GetSecret(), pb.GetMembership())
}
