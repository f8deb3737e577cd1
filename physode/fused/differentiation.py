from typing import NamedTuple, Any
class Pullback(NamedTuple):
    nodes: Any; state: Any; time: Any; shared: Any; sample: Any; outers: Any = ()
