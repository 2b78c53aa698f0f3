// Package wirepb holds the protobuf messages that members exchange. It is
// generated from the .proto files beside it (`make gen`); they say what each
// field means. Package tensorio/wire frames them, package shard/hop gives them
// a protocol.
package wirepb
