"""The venue's words and codes, where the documentation lists them. Fields stay ``str`` and ``int``: lists grow.

Members equal their text: ``order.status == OrderStatus.FILLED``. Words not listed here come through unchanged.
"""

import enum
from typing import Final


class Side(enum.StrEnum):
    """Of an order, a trade, or a position (where a flat one has ``""``; older frames ``None``)."""

    BUY = "Buy"
    SELL = "Sell"


class TickDirection(enum.StrEnum):
    """The last price beside the one before (dossier 4.4)."""

    PLUS = "PlusTick"
    ZERO_PLUS = "ZeroPlusTick"
    MINUS = "MinusTick"
    ZERO_MINUS = "ZeroMinusTick"


class ListingPhase(enum.StrEnum):
    """Of a contract before its market is open (dossier 4.5)."""

    NOT_STARTED = "NotStarted"
    CALL_AUCTION = "CallAuction"
    CALL_AUCTION_NO_CANCEL = "CallAuctionNoCancel"
    CROSS_MATCHING = "CrossMatching"
    CONTINUOUS_TRADING = "ContinuousTrading"
    FINISHED = "Finished"


class OrderStatus(enum.StrEnum):
    """Dossier 6.1."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    UNTRIGGERED = "Untriggered"
    REJECTED = "Rejected"
    PARTIALLY_FILLED_CANCELED = "PartiallyFilledCanceled"
    """Spot only."""
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    """On derivatives it may have fills."""
    TRIGGERED = "Triggered"
    DEACTIVATED = "Deactivated"


OPEN: Final = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.UNTRIGGERED})
"""An order of these may still change."""
CLOSED: Final = frozenset(OrderStatus) - OPEN
"""An order of these is done; ``Triggered`` lives on as another order."""


class TimeInForce(enum.StrEnum):
    """Dossier 6.1."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    POST_ONLY = "PostOnly"
    RPI = "RPI"


class ExecutionType(enum.StrEnum):
    """Dossier 6.2. Only some of them are trades of one's own."""

    TRADE = "Trade"
    ADL_TRADE = "AdlTrade"
    FUNDING = "Funding"
    BUST_TRADE = "BustTrade"
    DELIVERY = "Delivery"
    SETTLE = "Settle"
    BLOCK_TRADE = "BlockTrade"
    MOVE_POSITION = "MovePosition"
    FUTURE_SPREAD = "FutureSpread"
    CORPORATE_ACTION = "CorporateAction"
    UNKNOWN = "UNKNOWN"


class PositionStatus(enum.StrEnum):
    """Dossier 6.4."""

    NORMAL = "Normal"
    LIQUIDATION = "Liq"
    ADL = "Adl"


class SpreadCategory(enum.StrEnum):
    """Which part of a spread an order or execution is (dossier 6.8)."""

    COMBINATION = "combination"
    SPOT_LEG = "spot_leg"
    FUTURE_LEG = "future_leg"


class StrategyStatus(enum.IntEnum):
    """Dossier 6.7; the meanings are the documentation's (its page "Strategy")."""

    RUNNING = 2
    TERMINATED = 3
    TERMINATED_UNFILLED = 4
    PAUSED = 5
    UNTRIGGERED = 6


class BlockTradeStatus(enum.StrEnum):
    """Of a request for quotes, a quote, or a block trade (dossier 6.8; the documentation's pages "RFQ" and "Quote")."""

    ACTIVE = "Active"
    CANCELED = "Canceled"
    PENDING_FILL = "PendingFill"
    FILLED = "Filled"
    EXPIRED = "Expired"
    FAILED = "Failed"


class MaintenanceState(enum.StrEnum):
    """Dossier 4.12."""

    SCHEDULED = "scheduled"
    ONGOING = "ongoing"
    COMPLETED = "completed"
    CANCELED = "canceled"


class MaintenanceService(enum.IntEnum):
    """What a maintenance touches (dossier 4.12)."""

    TRADING = 1
    TRADING_OVER_HTTP = 2
    TRADING_OVER_WEBSOCKET = 3
    PRIVATE_STREAM = 4
    MARKET_DATA = 5


class MaintenanceProduct(enum.IntEnum):
    """Whom a maintenance touches (dossier 4.12)."""

    FUTURES = 1
    SPOT = 2
    OPTION = 3
    SPREAD = 4


class MaintenanceKind(enum.IntEnum):
    """Dossier 4.12."""

    PLANNED = 1
    TEMPORARY = 2
    INCIDENT = 3


class Environment(enum.IntEnum):
    """Dossier 4.12."""

    PRODUCTION = 1
    DEMO = 2
