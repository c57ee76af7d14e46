"""The command lines of the original documentation, chapters "Node", "Relay" and "Index", as they stand there.

Left out are only what a chapter cannot know: `cp other_index2.index index/trusted/` (there are two index
servers here). An index server's lines are in two pieces, because its operator has to wait for the other's
ticket in between.
"""

NODE = """
# Public facing node address
NODE_ADDRESS="www.mynode.com"

# Public facing node port
NODE_PORT=9876

# Create a directory for the node's data
mkdir node

# Create a subdirectory for the node's trusted applications.
mkdir node/trusted

# generate node's identity
stmgr gen-ident --output node/node.ident

# Init node database
stmgr init-node-db --idfile node/node.ident --output node/node.db

# Generate node tickets:
stmgr node-ticket  --address $NODE_ADDRESS:$NODE_PORT \\
        --idfile node/node.ident \\
        --output node/node.ticket

# Create a directory for the app's data
mkdir app

# Generate app's identity
stmgr gen-ident --output app/app.ident

# Generate app ticket:
stmgr app-ticket --idfile app/app.ident \\
        --pbuyer --pconfig --proutes --pseller \\
        --output app/app.ticket

# Fill in apps tickets at the corresponding nodes' "trusted" directories
cp app/app.ticket node/trusted/

# Create node entries:
stmgr node-entry \\
        --address $NODE_ADDRESS:$NODE_PORT \\
        --appid app/app.ident \\
        --nodeid node/node.ident \\
        --output node/node.rcard

# Start node:
stnode --database node/node.db \\
        --idfile node/node.ident \\
        --laddr 0.0.0.0:$NODE_PORT \\
        --trusted node/trusted &
"""

RELAY = """
# Public facing relay address
RELAY_ADDRESS="www.myrelay.com"

# Public facing relay port
RELAY_PORT=4567

# Create a directory for the relay's data
mkdir relay

# Generate a new identity for the relay
stmgr gen-ident --output relay/relay.ident

# Generate relay ticket
stmgr relay-ticket \\
        --address $RELAY_ADDRESS:$RELAY_PORT \\
        --idfile relay/relay.ident \\
        --output relay/relay.relay

# Start the relay:
strelay --idfile relay/relay.ident --laddr 0.0.0.0:$RELAY_PORT &
"""

INDEX = """
# Public facing index server's address
INDEX_ADDRESS="www.myindex.com"

# Public facing index server's port, used by nodes
INDEX_PORT_CLIENT=3456

# Public facing index server's port, used to federate with other index
# servers
INDEX_PORT_SERVER=6543

# Create a directory for the index server's data
mkdir index
# Create a directory for trusted index servers.
mkdir index/trusted

# Create an identity for the index server
stmgr gen-ident --output index/index.ident

# Generate index ticket to be used by nodes
stmgr index-ticket \\
        --address $INDEX_ADDRESS:$INDEX_PORT_CLIENT \\
        --idfile index/index.ident \\
        --output index/index_client.index

# Generate index ticket to be used by other index servers
stmgr index-ticket \\
        --address $INDEX_ADDRESS:$INDEX_PORT_SERVER \\
        --idfile index/index.ident \\
        --output index/index_server.index
"""

INDEX_STARTS = """
# Register other trusted index servers
# Note that those servers also have to register
# our index server tickets as # trusted
cp other_index1.index index/trusted/

# Start index server
stindex --idfile index/index.ident \\
      --lclient $INDEX_ADDRESS:$INDEX_PORT_CLIENT \\
      --lserver $INDEX_ADDRESS:$INDEX_PORT_SERVER \\
      --trusted index/trusted &
"""
