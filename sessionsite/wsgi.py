"""What gunicorn serves."""

import logging
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sessionsite.settings")

application = get_wsgi_application()


def check_store() -> None:
    """Refuse to serve in another time zone than the one in which the store's days are cut. A store that cannot be asked now (not migrated yet,
    a database server still starting) is no reason not to start: whoever writes to it is checked again."""
    from django.db import DatabaseError, connection

    from sessions_app.day_rows import check_time_zone

    try:
        check_time_zone()
    except DatabaseError as error:
        logging.getLogger("sessions_app").warning("The store cannot be asked for its time zone yet: %s", error)
    finally:
        connection.close()  # whoever serves opens their own; gunicorn may fork after this


check_store()
