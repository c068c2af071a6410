module rollback-operator/testbed/pause

go 1.27
